-- ARGV: after, most. Answers the number through which this is complete, whether that is all, and the entries.
local most = tonumber(ARGV[2])
local entries = redis.call('ZRANGEBYSCORE', key('log'), '(' .. ARGV[1], '+inf', 'LIMIT', 0, most + 1)
local last, is_all = redis.call('GET', key('number')) or '0', '1'
if #entries > most then
    entries[#entries] = nil
    last, is_all = cjson.decode(entries[#entries]).number, '0'
end
return { 'ok', last, is_all, unpack(entries) }
