-- KEYS  record, perhaps the list that it is in
-- ARGV  incarnation of the server, what is expected, version, milliseconds, bytes, perhaps its name in the list
-- Answers the incarnation, the time, the milliseconds left, and what stands there now.
local value = standing(KEYS[1])
local now = microseconds()
-- Sent again: it was written already.
local is_done = is_record(value) and string.sub(value, 2, 33) == ARGV[3]
if not is_done and is_expected(value, ARGV[2]) then
  value = 'R' .. ARGV[3] .. string.format('%020.0f', now) .. ARGV[1] .. ARGV[5]
  redis.call('SET', KEYS[1], value, 'PX', ARGV[4])
  if KEYS[2] then
    redis.call('ZADD', KEYS[2], now, ARGV[6])
    if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[2], ARGV[4]) end
  end
end
return { ARGV[1], string.format('%.0f', now), redis.call('PTTL', KEYS[1]), shown(value) }
