package example;

import java.util.Map;

import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** Answers with a greeting. */
@SpringBootApplication
@RestController
public class Main {
    @Value("${NAME:world}")
    private String name;

    public static void main(String[] arguments) {
        SpringApplication.run(Main.class, arguments);
    }

    @GetMapping("/")
    Map<String, String> greet() {
        return Map.of("message", "Hello, " + name + "!", "user", System.getProperty("user.name"));
    }
}
