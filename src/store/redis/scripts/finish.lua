-- ARGV: key, answer; without an answer the call is forgotten, unless it has one.
local name = key('answer', ARGV[1])
if not ARGV[2] then
    if redis.call('HEXISTS', name, 'answer') == 0 then
        redis.call('DEL', name)
    end
elseif redis.call('EXISTS', name) == 1 then
    redis.call('HSET', name, 'answer', ARGV[2])
end
return { 'ok' }
