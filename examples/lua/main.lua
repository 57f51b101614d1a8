local uv = require "luv"
local greeting = require "greeting"

local server = uv.new_tcp()
assert(server:bind("0.0.0.0", tonumber(os.getenv("PORT") or 8080)))

local function respond(client, status, body)
   local headers = ("HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n")
   client:write(headers:format(status, #body) .. body, function() client:close() end)
end

server:listen(128, function()
   local client = uv.new_tcp()
   server:accept(client)
   local request = ""
   client:read_start(function(err, chunk)
      if err or not chunk then return client:close() end
      request = request .. chunk
      if not request:find("\r\n\r\n", 1, true) then return end
      client:read_stop()
      local path = request:match("^GET (%S+)")
      if path == "/" then
         respond(client, "200 OK", greeting.to(os.getenv("NAME") or "world", uv.os_get_passwd().username))
      elseif path == "/healthz" then
         respond(client, "204 No Content", "")
      else
         respond(client, "404 Not Found", "")
      end
   end)
end)

-- The first process of a container gets no signal handler from the kernel: without one, `docker stop` would wait and kill.
for _, name in ipairs { "sigint", "sigterm" } do
   uv.new_signal():start(name, function() uv.stop() end)
end
uv.run()
