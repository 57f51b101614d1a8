rockspec_format = "3.0"
package = "hello"
version = "dev-1"
source = { url = "git+https://example.com/hello.git" }
dependencies = { "lua >= 5.4" }
build = { type = "builtin", modules = { greeting = "greeting.lua" } }
