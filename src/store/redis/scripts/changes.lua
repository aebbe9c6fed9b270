-- ARGV: after, most. Answers the number through which this is complete, whether that is all, and the entries.
-- One that may not be written to is not where ends are noted now: a master that was replaced, or (from Redis 7 on) one that is
-- cut off from its replicas. There is nothing to delete, so that nothing changes; memory that is full or a disk that fails are
-- no reason to say so. Redis 6 has the place in the script before the code of the error.
local written = redis.pcall('DEL', key('nothing'))
if type(written) == 'table' and written.err then
    for _, code in ipairs({ 'READONLY', 'NOREPLICAS' }) do
        if written.err:find(code, 1, true) then
            return redis.error_reply(code .. ' this Redis may not be written to')
        end
    end
end
local most = tonumber(ARGV[2])
local entries = redis.call('ZRANGEBYSCORE', key('log'), '(' .. ARGV[1], '+inf', 'LIMIT', 0, most + 1)
local last, is_all = redis.call('GET', key('number')) or '0', '1'
if #entries > most then
    entries[#entries] = nil
    last, is_all = cjson.decode(entries[#entries]).number, '0'
end
return { 'ok', last, is_all, unpack(entries) }
