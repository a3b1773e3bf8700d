-- KEYS  record, era, perhaps the list that it is in
-- ARGV  incarnation of the server, name of a new era, what is expected, version, milliseconds, bytes, perhaps its name in the list
-- Answers the era, the incarnation, the time, the milliseconds left, and what stands there now.
local value = standing(KEYS[1])
local now = microseconds()
-- Sent again: it was written already.
local is_done = is_record(value) and string.sub(value, 2, 33) == ARGV[4]
if not is_done and is_expected(value, ARGV[3]) then
  value = 'R' .. ARGV[4] .. string.format('%020.0f', now) .. ARGV[1] .. ARGV[6]
  redis.call('SET', KEYS[1], value, 'PX', ARGV[5])
  if KEYS[3] then
    redis.call('ZADD', KEYS[3], now, ARGV[7])
    if redis.call('PTTL', KEYS[3]) < tonumber(ARGV[5]) then redis.call('PEXPIRE', KEYS[3], ARGV[5]) end
  end
end
if not is_record(value) then value = '' end
return { era_of(KEYS[2], ARGV[2]), ARGV[1], string.format('%.0f', now), redis.call('PTTL', KEYS[1]), value }
