-- KEYS  record, era, perhaps the list that it is in
-- ARGV  incarnation of the server, name of a new era, milliseconds that it is kept from now on (0: as it is)
-- Answers the era, the incarnation, the time, the milliseconds left, and the record.
local value = standing(KEYS[1])
if not is_record(value) then value = '' end
if value ~= '' and ARGV[3] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  if KEYS[3] and redis.call('PTTL', KEYS[3]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[3], ARGV[3]) end
end
return { era_of(KEYS[2], ARGV[2]), ARGV[1], string.format('%.0f', microseconds()), redis.call('PTTL', KEYS[1]), value }
