package example

import com.sun.net.httpserver.HttpServer
import java.net.InetSocketAddress
import java.nio.charset.StandardCharsets.UTF_8
import java.util.concurrent.Executors
import scala.util.Using
import upickle.default.{ReadWriter, write}

case class Greeting(message: String, user: String, java: String) derives ReadWriter

def variable(name: String, otherwise: String): String = sys.env.getOrElse(name, otherwise)

def greeting: Greeting =
  Greeting(s"Hello, ${variable("NAME", "world")}!", sys.props("user.name"), sys.props("java.version"))

/** Answers every HTTP request with a greeting. */
@main def serve(): Unit =
  val port = variable("PORT", "8080").toInt
  val server = HttpServer.create(InetSocketAddress(port), 0)
  server.createContext("/", exchange =>
    val body = write(greeting).getBytes(UTF_8)
    exchange.getResponseHeaders.set("Content-Type", "application/json")
    exchange.sendResponseHeaders(200, body.length)
    Using.resource(exchange.getResponseBody)(_.write(body))
  )
  server.setExecutor(Executors.newCachedThreadPool())
  sys.addShutdownHook(server.stop(1))
  server.start()
  println(s"listening on port $port")
