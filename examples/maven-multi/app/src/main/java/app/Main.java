package app;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;

import com.sun.net.httpserver.HttpServer;
import greeting.Greeting;

/** Answers every HTTP request with a greeting. */
public final class Main {
    private Main() {}

    private static String environment(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }

    public static void main(String[] arguments) throws IOException {
        var port = Integer.parseInt(environment("PORT", "8080"));
        var server = HttpServer.create(new InetSocketAddress(port), 0);
        var user = System.getProperty("user.name");
        server.createContext("/", exchange -> {
            var greeting = Greeting.to(environment("NAME", "world"));
            var text = "{\"message\": \"" + greeting + "\", \"user\": \"" + user + "\"}";
            var body = text.getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("Content-Type", "application/json");
            exchange.sendResponseHeaders(200, body.length);
            try (var out = exchange.getResponseBody()) {
                out.write(body);
            }
        });
        server.start();
    }
}
