-- Takes a holder off and removes what nobody else holds, also where this one held nothing.
-- KEYS  a key that never exists, then the targets; or a single target, twice
-- ARGV  the holder
if KEYS[1] ~= KEYS[2] then redis.call('UNLINK', KEYS[1]) end
local now = clock()
for i = 2, #KEYS do
  local rest, last = others(KEYS[i], ARGV[1], now)
  if not rest or rest == '' then
    redis.call('UNLINK', KEYS[i])
  else
    -- Should memory be too full for this, the own term stays, within the others' quarantine, until it lapses.
    redis.pcall('SET', KEYS[i], 'Q' .. rest, 'PX', string.format('%.0f', last - now))
  end
end
return 1
