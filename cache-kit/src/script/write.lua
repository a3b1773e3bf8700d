-- KEYS  record, perhaps the list that it is in
-- ARGV  incarnation of the server, time after which nobody waits for this (0: always), what is expected, version, milliseconds, bytes, perhaps its
--       name in the list
-- Answers the incarnation, the time, the milliseconds left, and what stands there now.
local value = standing(KEYS[1])
local now = microseconds()
-- It was under way for so long that something newer may have been written.
if ARGV[2] ~= '0' and now > tonumber(ARGV[2]) then return { ARGV[1], string.format('%.0f', now), -3, '' } end
-- Sent again: it was written already.
local is_done = is_record(value) and string.sub(value, 2, 33) == ARGV[4]
if not is_done and is_expected(value, ARGV[3]) then
  value = 'R' .. ARGV[4] .. string.format('%020.0f', now) .. ARGV[1] .. ARGV[6]
  redis.call('SET', KEYS[1], value, 'PX', ARGV[5])
  if KEYS[2] then
    redis.call('ZADD', KEYS[2], now, ARGV[7])
    if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[5]) then redis.call('PEXPIRE', KEYS[2], ARGV[5]) end
  end
end
return { ARGV[1], string.format('%.0f', now), redis.call('PTTL', KEYS[1]), shown(value) }
