-- Takes the right to load an entry. Creates the tokens that are missing, for about as long as a load may take: the fill is
-- what makes them live as long as the value.
-- KEYS  entry, root, token…
-- ARGV  incarnation, nonce, ms that the lease lasts, ms that tokens live at first, id of a value to disregard (or ''),
--       the stamp's half of other partitions, if it has one
-- Answers 'F' (fence first), 'Q' (quarantined), the value, 'W' stamp id ms (another lease, and how long it lasts), or the lease: 'L' stamp id.
local tokens = tokens_at(2, #KEYS)
if is_foreign(tokens[1], ARGV[1]) then return 'F' end
local head = head_of(KEYS[1])
if kind_of(head) == 'Q' or any_held(tokens) then return 'Q' end

local id = ids(ARGV[2])
local lifetime = tonumber(ARGV[4])
complete(tokens, 2, ARGV[1], id, lifetime)

local stamp = stamp_of(tokens, ARGV[6])
if string.sub(head, 2, 33) == stamp then
  if is_value(head) and string.sub(head, 34, 65) ~= ARGV[5] then return redis.call('GET', KEYS[1]) end
  if is_lease(head) then return waiting(head, KEYS[1]) end
end
local lease = 'L' .. stamp .. id('lease')
redis.call('SET', KEYS[1], lease, 'PX', ARGV[3])
-- Not earlier: what comes first in a script decides whether Redis takes the rest where memory is full.
extend(3, #KEYS, lifetime)
return lease
