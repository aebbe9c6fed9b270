-- ARGV: id, expires.
local record, refusal = going_on(ARGV[1])
if not record then
    return refusal
end
if tonumber(ARGV[2]) > tonumber(record.expires) then
    record.expires = ARGV[2]
    redis.call('HSET', key('session', record.id), 'expires', record.expires)
end
lives(record)
return { 'ok', cjson.encode(record) }
