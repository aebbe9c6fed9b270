-- What the scripts share. KEYS[1] is the prefix of all keys, with the hash tag: whatever is made from it lies in one slot.
-- Times are milliseconds since 1970, by the clock of this Redis.
local prefix = KEYS[1]

local function key(...)
    return prefix .. table.concat({ ... }, ':')
end

-- A whole number as text; Lua's own has fourteen digits only.
local function int(number)
    return string.format('%.0f', number)
end

local clock = redis.call('TIME')
local micros = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local time = math.floor(micros / 1000)

-- Lets a key live until `moment` at least.
local function extend(name, moment)
    local left = redis.call('PTTL', name)
    if left == -1 or left < moment - time then
        redis.call('PEXPIREAT', name, int(moment))
    end
end

local function map(flat)
    local fields = {}
    for at = 1, #flat, 2 do
        fields[flat[at]] = flat[at + 1]
    end
    return fields
end

local function revocation(kind, name)
    local found = redis.call('HGET', key('revocations'), kind .. ':' .. name)
    return found and cjson.decode(found)
end

-- When the contact or the bot of a session was revoked since it was opened.
local function ended_by(record)
    local ended
    for kind, name in pairs({ contact = record.subject, bot = record.bot }) do
        local revoked = revocation(kind, name)
        local at = revoked and tonumber(revoked.at)
        if at and at >= tonumber(record.opened) and at < (tonumber(ended) or math.huge) then
            ended = revoked.at
        end
    end
    return ended
end

-- The record, as ended as it is: a session has ended when it was revoked, or when its contact or its bot was before.
local function read(id)
    local record = map(redis.call('HGETALL', key('session', id)))
    if not record.id then
        return nil
    end
    local ended = ended_by(record)
    if ended and tonumber(ended) < (tonumber(record.ended) or math.huge) then
        record.ended = ended
    end
    return record
end

-- The set of live sessions that a cap counts; nothing where the session has nothing to be counted by.
local function live(what, record)
    local name = record[what == 'contact' and 'subject' or 'address']
    return name and key('live', what, record.bot, name)
end

-- Notes until when the session's longest token lives.
local function lives(record)
    for _, what in ipairs({ 'contact', 'address' }) do
        local set = live(what, record)
        if set then
            redis.call('ZADD', set, record.expires, record.id)
            extend(set, tonumber(record.expires))
        end
    end
end

local function lives_no_more(record)
    for _, what in ipairs({ 'contact', 'address' }) do
        local set = live(what, record)
        if set then
            redis.call('ZREM', set, record.id)
        end
    end
end

-- The order of opening, of all sessions, of the bot's and of the contact's.
local function indexes(record)
    return { key('sessions'), key('bot', record.bot), key('contact', record.subject) }
end

local day = 86400000

-- Writes all fields. What a sweep forgets goes by itself a day later.
local function write(record, retention)
    local flat = {}
    for field, value in pairs(record) do
        flat[#flat + 1] = field
        flat[#flat + 1] = value
    end
    local gone = tonumber(record.ends) + retention
    local name = key('session', record.id)
    redis.call('HSET', name, unpack(flat))
    extend(name, gone + day)
    for _, index in ipairs(indexes(record)) do
        redis.call('ZADD', index, record.opened, record.id)
        if index ~= key('sessions') then
            extend(index, gone + day)
        end
    end
    redis.call('ZADD', key('gone'), int(gone), record.id)
end

-- Appends to the log and tells everybody. The number is the time in microseconds, or one more than the last: where a
-- Redis comes back without its last second, no number is given twice.
local function append(entry, ends)
    local number = math.max(tonumber(redis.call('GET', key('number')) or '0') + 1, micros)
    entry.number = int(number)
    entry['until'] = int(ends)
    redis.call('SET', key('number'), entry.number)
    redis.call('ZADD', key('log'), entry.number, cjson.encode(entry))
    redis.call('ZADD', key('log-until'), entry['until'], entry.number)
    redis.call('PUBLISH', key('changes'), entry.number)
    return entry.number
end

local function forget(number)
    redis.call('ZREMRANGEBYSCORE', key('log'), number, number)
    redis.call('ZREM', key('log-until'), number)
end

-- When a rate is full again, in microseconds: never longer from now than sixteen times all of it, whatever stands there.
local function full_at(name, interval, count)
    local stored = tonumber(redis.call('GET', name) or '0') or 0
    return math.min(math.max(stored, micros), micros + interval * count * 16)
end

-- The session, if it can still be changed; otherwise why not.
local function going_on(id)
    local record = read(id)
    if not record then
        return nil, { 'unknown' }
    end
    if record.ended or tonumber(record.ends) <= time then
        return nil, { 'ended' }
    end
    return record
end

