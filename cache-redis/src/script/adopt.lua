-- Makes the root one of this incarnation, and so keeps what stands under it.
-- KEYS  root
-- ARGV  incarnation
-- Answers 1 if it was of another.
local root = redis.pcall('GET', KEYS[1])
if not root then return 0 end
if type(root) == 'string' and string.sub(root, 1, 16) == ARGV[1] then return 0 end
-- First, so that the rest works where memory is full.
redis.call('UNLINK', KEYS[1])
if type(root) == 'string' and #root == 48 then redis.call('SET', KEYS[1], ARGV[1] .. string.sub(root, 17)) end
return 1
