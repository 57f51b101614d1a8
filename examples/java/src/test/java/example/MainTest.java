package example;

import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class MainTest {
    @Test
    void greets() {
        assertTrue(Main.greeting().contains("\"message\":\"Hello, "));
    }
}
