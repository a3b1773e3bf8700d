-- Quarantines entries and tokens: neither lease nor value nor token can be there meanwhile.
-- KEYS  a key that never exists, then the targets; or a single target, twice
-- ARGV  the holder, ms from now
-- A write whatever the targets are. As it is the first, the few bytes below are also taken where memory is full.
if KEYS[1] ~= KEYS[2] then redis.call('UNLINK', KEYS[1]) end
local now = clock()
for i = 2, #KEYS do
  local rest, last, own = others(KEYS[i], ARGV[1], now)
  -- Never shorter: a call that was under way for long must not end what a later one has prolonged.
  local ends = math.max(own or 0, now + ARGV[2])
  local held = 'Q' .. (rest or '') .. ARGV[1] .. string.format('%014.0f', ends)
  redis.call('SET', KEYS[i], held, 'PX', string.format('%.0f', math.max(last or 0, ends) - now))
end
return 1
