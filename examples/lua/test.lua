local greeting = require "greeting"

local said = greeting.to("Ada", "nonroot")
assert(said == '{"lua":"Lua 5.4","message":"Hello, Ada!","user":"nonroot"}', said)
print "ok"
