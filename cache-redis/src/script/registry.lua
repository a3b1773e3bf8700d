-- Stands in front of the scripts that know who keeps values in memory of its own. The registry is a hash: for each member a
-- number that every renewal changes and that never comes back, and under '#' the incarnation, '!' or '?', and the
-- registry's own name. '?': some may have a lease and are not in it.

-- The registry's name, and whether it is complete. One of another incarnation is from the past: the same as none.
local function registry(key, incarnation)
  local note = redis.pcall('HGET', key, '#')
  if type(note) ~= 'string' or string.sub(note, 1, 16) ~= incarnation then return nil end
  return string.sub(note, 18), string.sub(note, 17, 17) == '!'
end

local function note(key, incarnation, mark, name)
  redis.call('HSET', key, '#', incarnation .. mark .. name)
end

-- What is made from it is larger than all before, also if what held the last one was removed.
local function microseconds()
  local now = redis.call('TIME')
  return now[1] .. string.format('%06d', now[2])
end

-- The number of the announcement that was last.
local function last_of(key)
  local last = redis.pcall('GET', key)
  if type(last) ~= 'string' or not string.match(last, '^%d+$') then
    redis.call('UNLINK', key)
    last = microseconds()
    redis.call('SET', key, last)
  end
  return last
end
