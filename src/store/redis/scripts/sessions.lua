-- ARGV: filter {bots?, subject?, from?, before?, opened?, id?}, most. The newest first; one more than `most` if there is.
local filter = cjson.decode(ARGV[1])
local wanted = tonumber(ARGV[2]) + 1

local allowed
if filter.bots then
    allowed = {}
    for _, bot in ipairs(filter.bots) do
        allowed[bot] = true
    end
end

local function fits(record)
    return (not allowed or allowed[record.bot]) and (not filter.subject or filter.subject == record.subject)
end

-- Appends to `found` what fits of one index, `wanted` at most.
local function walk(index, found)
    local lowest = filter.from or '-inf'
    local highest = filter.before and '(' .. filter.before or '+inf'
    if filter.opened and (not filter.before or tonumber(filter.opened) < tonumber(filter.before)) then
        highest = filter.opened
    end
    local offset, count = 0, 0
    while count < wanted do
        local piece = redis.call('ZREVRANGEBYSCORE', index, highest, lowest, 'WITHSCORES', 'LIMIT', offset, 100)
        for at = 1, #piece, 2 do
            local id, opened = piece[at], piece[at + 1]
            local is_later = not filter.opened or tonumber(opened) < tonumber(filter.opened) or id < filter.id
            local record = is_later and count < wanted and read(id)
            if record and fits(record) then
                found[#found + 1] = record
                count = count + 1
            end
        end
        if #piece < 200 then
            return
        end
        offset = offset + 100
    end
end

local found = {}
if filter.subject then
    walk(key('contact', filter.subject), found)
elseif filter.bots then
    for bot in pairs(allowed) do
        walk(key('bot', bot), found)
    end
else
    walk(key('sessions'), found)
end
table.sort(found, function(one, other)
    if one.opened ~= other.opened then
        return tonumber(one.opened) > tonumber(other.opened)
    end
    return one.id > other.id
end)
local answer = { 'ok' }
for at = 1, math.min(wanted, #found) do
    answer[#answer + 1] = cjson.encode(found[at])
end
return answer
