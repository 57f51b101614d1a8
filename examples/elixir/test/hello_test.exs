defmodule HelloTest do
  use ExUnit.Case, async: true

  test "greets" do
    assert Hello.greeting("Ada", "me") =~ ~s("message":"Hello, Ada!")
  end

  test "escapes" do
    assert Hello.greeting("\"", "me") =~ "Hello, \\u0022!"
  end
end
