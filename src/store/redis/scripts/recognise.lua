-- ARGV: id, known {digest, subject, source, contact?}, '1' if earlier tokens end, expires, retention, margin.
local record, refusal = going_on(ARGV[1])
if not record then
    return refusal
end
local known, ends_earlier = cjson.decode(ARGV[2]), ARGV[3] == '1'
if record.known and record.known ~= known.digest then
    return { 'conflict' }
end
local revoked = revocation('contact', known.subject)
if revoked and tonumber(revoked.at) >= tonumber(record.opened) then
    return { 'ended' }
end
local is_new = not record.known
local ends_more = ends_earlier and record.ends_earlier ~= '1'
if is_new then
    lives_no_more(record)
    redis.call('ZREM', key('contact', record.subject), record.id)
    record.subject, record.source, record.known = known.subject, known.source, known.digest
end
-- The same visitor may have another name by now.
record.contact = known.contact
if not known.contact then
    redis.call('HDEL', key('session', record.id), 'contact')
end
if ends_earlier then
    record.ends_earlier = '1'
end
if tonumber(ARGV[4]) > tonumber(record.expires) then
    record.expires = ARGV[4]
end
write(record, tonumber(ARGV[5]))
lives(record)
if is_new or ends_more then
    append({
        kind = 'recognised', name = record.id, digest = record.known, subject = record.subject,
        ends_earlier = record.ends_earlier, at = int(time),
    }, tonumber(record.ends) + tonumber(ARGV[6]))
end
return { 'ok', cjson.encode(record) }
