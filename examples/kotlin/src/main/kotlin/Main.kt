package example

import com.sun.net.httpserver.HttpServer
import java.net.InetSocketAddress
import java.util.concurrent.Executors
import kotlin.concurrent.thread
import kotlinx.serialization.Serializable
import kotlinx.serialization.encodeToString
import kotlinx.serialization.json.Json

@Serializable
data class Greeting(val message: String, val user: String, val kotlin: String)

fun variable(name: String, otherwise: String): String = System.getenv(name) ?: otherwise

fun greeting() = Greeting(
    message = "Hello, ${variable("NAME", "world")}!",
    user = System.getProperty("user.name"),
    kotlin = KotlinVersion.CURRENT.toString(),
)

/** Answers every HTTP request with a greeting. */
fun main() {
    val port = variable("PORT", "8080").toInt()
    val server = HttpServer.create(InetSocketAddress(port), 0)
    server.createContext("/") { exchange ->
        exchange.use {
            val body = Json.encodeToString(greeting()).encodeToByteArray()
            it.responseHeaders["Content-Type"] = "application/json"
            it.sendResponseHeaders(200, body.size.toLong())
            it.responseBody.write(body)
        }
    }
    server.executor = Executors.newCachedThreadPool()
    Runtime.getRuntime().addShutdownHook(thread(start = false) { server.stop(1) })
    server.start()
    println("listening on port $port")
}
