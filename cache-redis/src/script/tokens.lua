-- Stands in front of the scripts that look at tokens. An entry's own token keys are given as KEYS[first..last], the root
-- first. MGET reads a key of another type as absent, which is what it counts as.

local function live(entry)
  return type(entry) == 'string' and entry or ''
end

-- The first bytes of an entry: its kind, stamp and id, and one byte more, so that a lease with something behind it shows.
local function head_of(key)
  local head = redis.pcall('GETRANGE', key, 0, 65)
  if type(head) == 'table' then
    if string.sub(head.err, 1, 9) ~= 'WRONGTYPE' then error(head.err) end
    return ''
  end
  return head
end

local function kind_of(entry)
  return string.sub(live(entry), 1, 1)
end

local function is_lease(head)
  return kind_of(head) == 'L' and #head == 65
end

local function is_value(head)
  return kind_of(head) == 'V' and #head >= 65
end

local function waiting(lease, key)
  return 'W' .. string.sub(lease, 2) .. string.format('%.0f', redis.call('PTTL', key))
end

local function tokens_at(first, last)
  return redis.call('MGET', unpack(KEYS, first, last))
end

-- Whether the root was made by another server, or by this one before a restart.
local function is_foreign(root, incarnation)
  return root and string.sub(root, 1, 16) ~= incarnation
end

local function any_held(tokens)
  for i = 2, #tokens do
    if kind_of(tokens[i]) == 'Q' then return true end
  end
  return false
end

local function is_token(token)
  return kind_of(token) == 'T' and #token == 33
end

-- What the entries under these tokens carry. nil while a token is missing. The root's own name is part of it and the
-- incarnation in front is not, so that a root can be adopted by another. Where tokens of other partitions are part of it
-- too, each has a half, and theirs is known from when the lease was taken: one half can be checked without the other.
local function stamp_of(tokens, elsewhere)
  for i = 1, #tokens do
    if not tokens[i] then return nil end
  end
  local root = string.sub(tokens[1], 17)
  local digest = redis.sha1hex(root .. '|' .. table.concat(tokens, '|', 2))
  if not elsewhere then return string.sub(digest, 1, 32) end
  local function word(at)
    return tonumber(string.sub(digest, at, at + 7), 16)
  end
  return struct.pack('>I4I4I4I4', word(1), word(9), word(17), word(25)) .. elsewhere
end

-- Ids that never come twice: the server's clock beside the caller's nonce, so that a script that is sent again cannot
-- bring back a token that was removed in between.
local function ids(nonce)
  local now = redis.call('TIME')
  local unique = nonce .. '.' .. now[1] .. '.' .. now[2] .. '.'
  return function(purpose)
    return string.sub(redis.sha1hex(unique .. purpose), 1, 32)
  end
end

-- Creates those that are missing of the tokens at KEYS[first…], the root first.
local function complete(tokens, first, incarnation, id, lifetime)
  if not tokens[1] then
    tokens[1] = incarnation .. id('root')
    redis.call('SET', KEYS[first], tokens[1])
  end
  local created = {}
  for i = 2, #tokens do
    local key = KEYS[first + i - 1]
    if created[key] then
      -- A tag that is named twice.
      tokens[i] = created[key]
    elseif not is_token(tokens[i]) then
      tokens[i] = 'T' .. id(i)
      created[key] = tokens[i]
      redis.call('SET', key, tokens[i], 'PX', lifetime)
    end
  end
end

-- Makes the tokens KEYS[first..last] live for as long as this, never shorter. Doing so only when a third of that is gone
-- keeps it from being a write for every load; what is left is still longer than the half for which a value is stored.
local function extend(first, last, lifetime)
  for i = first, last do
    local left = redis.call('PTTL', KEYS[i])
    if left >= 0 and left < lifetime * 2 / 3 then redis.call('PEXPIRE', KEYS[i], lifetime) end
  end
end
