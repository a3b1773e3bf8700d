-- KEYS  the numbering of the topic
-- ARGV  channel, name of a new numbering, the message
-- Answers the message's number.
redis.call('HSETNX', KEYS[1], 'name', ARGV[2])
local number = redis.call('HINCRBY', KEYS[1], 'last', 1)
redis.call('PEXPIRE', KEYS[1], 604800000)
redis.call('PUBLISH', ARGV[1], redis.call('HGET', KEYS[1], 'name') .. string.format('%020.0f', number) .. ARGV[3])
return number
