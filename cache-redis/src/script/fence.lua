-- Makes the namespace cold if its root is of another incarnation: the data may be from the past. The next ACQUIRE creates
-- a fresh root. Removing is enough, and works where memory is full.
-- KEYS  root
-- ARGV  incarnation
-- Answers 1 if the root was removed.
local root = redis.pcall('GET', KEYS[1])
if not root then return 0 end
if type(root) == 'string' and string.sub(root, 1, 16) == ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])
