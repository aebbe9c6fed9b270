-- ARGV: id.
local record = read(ARGV[1])
return record and { 'ok', cjson.encode(record) } or { 'ok' }
