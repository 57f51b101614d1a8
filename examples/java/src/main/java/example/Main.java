package example;

import com.google.gson.Gson;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.Executors;

/** Answers every HTTP request with a greeting. */
public class Main {
    private static final Gson GSON = new Gson();

    private static String variable(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }

    static String greeting() {
        return GSON.toJson(Map.of(
                "message", "Hello, " + variable("NAME", "world") + "!",
                "user", System.getProperty("user.name"),
                "java", Runtime.version().toString()));
    }

    private static void answer(HttpExchange exchange) throws IOException {
        try (exchange) {
            byte[] body = greeting().getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("Content-Type", "application/json");
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
        }
    }

    public static void main(String[] args) throws IOException {
        int port = Integer.parseInt(variable("PORT", "8080"));
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        server.createContext("/", Main::answer);
        server.setExecutor(Executors.newCachedThreadPool());
        Runtime.getRuntime().addShutdownHook(new Thread(() -> server.stop(1)));
        server.start();
        System.out.println("listening on port " + port);
    }
}
