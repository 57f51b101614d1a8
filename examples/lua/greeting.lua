-- What the app says.
local greeting = {}

-- A table as the JSON of an object, its keys sorted.
local function json(fields)
   local parts = {}
   for name, value in pairs(fields) do
      parts[#parts + 1] = ("%q:%q"):format(name, value)
   end
   table.sort(parts)
   return "{" .. table.concat(parts, ",") .. "}"
end

function greeting.to(name, user)
   return json { message = ("Hello, %s!"):format(name), lua = _VERSION, user = user }
end

return greeting
