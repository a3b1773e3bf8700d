-- KEYS  lock, queue, who in the queue still waits
-- ARGV  who, milliseconds that it lasts from now on (0: it is given back)
-- Answers 1 if it was held.
local held = redis.call('GET', KEYS[1])
local is_own = held and string.sub(held, 1, 32) == ARGV[1]
if is_own and ARGV[2] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if ARGV[2] == '0' then
  if is_own then redis.call('DEL', KEYS[1]) end
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
end
return is_own and 1 or 0
