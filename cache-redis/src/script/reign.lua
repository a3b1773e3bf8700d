-- Makes the namespace cold if another server was the primary since its data were noted as good: the sentinels number the
-- reigns. A server that came back to power unchanged has not heard of what was invalidated in between.
-- KEYS  root, where the reign is noted
-- ARGV  the reign, '1' to make it cold or '0' to note the reign only
-- Answers 1 if it was another reign.
if redis.pcall('GET', KEYS[2]) == ARGV[1] then return 0 end
-- First, so that the rest works where memory is full.
redis.call('UNLINK', KEYS[2])
if ARGV[2] == '1' then redis.call('UNLINK', KEYS[1]) end
redis.call('SET', KEYS[2], ARGV[1])
return 1
