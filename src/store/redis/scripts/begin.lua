-- ARGV: key, digest, how long it is remembered.
local name = key('answer', ARGV[1])
local present = map(redis.call('HGETALL', name))
if not present.digest then
    redis.call('HSET', name, 'digest', ARGV[2])
    redis.call('PEXPIRE', name, ARGV[3])
    return { 'new' }
elseif present.digest ~= ARGV[2] then
    return { 'other' }
elseif present.answer then
    return { 'answered', present.answer }
end
return { 'in flight' }
