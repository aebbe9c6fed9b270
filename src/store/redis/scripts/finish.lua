-- ARGV: key, digest, answer; without an answer the call is forgotten, unless it has one. One that was begun with another digest
-- is not this call: this one was forgotten meanwhile.
local name = key('answer', ARGV[1])
if redis.call('HGET', name, 'digest') == ARGV[2] then
    if ARGV[3] then
        redis.call('HSET', name, 'answer', ARGV[3])
    elseif redis.call('HEXISTS', name, 'answer') == 0 then
        redis.call('DEL', name)
    end
end
return { 'ok' }
