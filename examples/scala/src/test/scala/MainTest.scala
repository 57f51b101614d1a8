package example

class MainTest extends munit.FunSuite:
  test("greets") {
    assert(greeting.message.startsWith("Hello, "))
  }
