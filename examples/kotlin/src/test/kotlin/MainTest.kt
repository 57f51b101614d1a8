package example

import kotlin.test.Test
import kotlin.test.assertTrue

class MainTest {
    @Test
    fun greets() = assertTrue(greeting().message.startsWith("Hello, "))
}
