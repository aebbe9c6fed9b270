-- ARGV, four for each key: its name, microseconds between two, how many at once, how many a process took. Answers for each
-- in how many microseconds it is full again, by all processes together.
--
-- What was taken was taken: nothing is refused here, and more than the rate is a debt that is waited for. It is bounded by
-- what sixteen processes could take at once before they hear of each other.
local answer = { 'ok' }
for at = 1, #ARGV, 4 do
    local name, interval, count = key('rate', ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local full = full_at(name, interval, count) + interval * tonumber(ARGV[at + 3])
    local left = math.min(full - micros, interval * count * 16)
    redis.call('SET', name, int(micros + left), 'PX', int(math.max(math.ceil(left / 1000), 1)))
    answer[#answer + 1] = int(left)
end
return answer
