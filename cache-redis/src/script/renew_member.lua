-- Keeps a member in the registry, or puts it there.
-- KEYS  a key that never exists, registry, number of the last announcement
-- ARGV  incarnation, name of a registry that is made here, the member, name of a registry that has been waited for
-- Answers '1' if it was missing, the member's number, that of the last announcement, and the registry's name if it is not
-- complete.
-- First, so that the rest works where memory is full, and a replica refuses.
redis.call('UNLINK', KEYS[1])
local name, is_complete = registry(KEYS[2], ARGV[1])
if not name then
  redis.call('UNLINK', KEYS[2])
  name = ARGV[2]
  note(KEYS[2], ARGV[1], '?', name)
elseif not is_complete and name == ARGV[4] then
  note(KEYS[2], ARGV[1], '!', name)
  is_complete = true
end
local own = redis.call('HEXISTS', KEYS[2], ARGV[3]) == 1 and redis.pcall('HINCRBY', KEYS[2], ARGV[3], 1)
local is_missing = type(own) ~= 'number'
if is_missing then
  own = microseconds()
  redis.call('HSET', KEYS[2], ARGV[3], own)
else
  own = string.format('%.0f', own)
end
return { is_missing and '1' or '0', own, last_of(KEYS[3]), is_complete and '' or name }
