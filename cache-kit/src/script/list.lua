-- KEYS  list
-- ARGV  how many at most, names that are no longer there
-- Answers the names, from the oldest on.
for index = 2, #ARGV do redis.call('ZREM', KEYS[1], ARGV[index]) end
return redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1)
