-- Takes members out of the registry whose lease has lapsed, and notes that it is complete.
-- KEYS  a key that never exists, registry
-- ARGV  name of the registry that is complete by now (or ''), then each member and the number that it had: another one, and it
--       has renewed since
redis.call('UNLINK', KEYS[1])
local found = redis.pcall('HGET', KEYS[2], '#')
if ARGV[1] ~= '' and type(found) == 'string' and string.sub(found, 17) == '?' .. ARGV[1] then
  note(KEYS[2], string.sub(found, 1, 16), '!', ARGV[1])
end
local expelled = 0
for i = 2, #ARGV, 2 do
  if redis.pcall('HGET', KEYS[2], ARGV[i]) == ARGV[i + 1] then
    expelled = expelled + redis.call('HDEL', KEYS[2], ARGV[i])
  end
end
return expelled
