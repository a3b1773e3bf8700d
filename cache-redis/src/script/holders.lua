-- Stands in front of the scripts that know who holds. A quarantine is 'Q' and, for each holder, its 32 bytes and the end
-- of its term: ms by this server's clock, in 14 digits. The key lives until the last term ends.

local function clock()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

-- Of the quarantine at a key: the holders but for one, without those that have lapsed; when the last of these ends; and
-- when the term of that one ends (0: it holds nothing). nil where there is no quarantine.
local function others(key, holder, now)
  if redis.pcall('GETRANGE', key, 0, 0) ~= 'Q' then return nil end
  local held = redis.call('GET', key)
  local rest, last, own = '', 0, 0
  for at = 2, #held - 45, 46 do
    local ends = tonumber(string.sub(held, at + 32, at + 45)) or 0
    if string.sub(held, at, at + 31) == holder then
      own = ends
    elseif ends > now then
      rest = rest .. string.sub(held, at, at + 45)
      last = math.max(last, ends)
    end
  end
  return rest, last, own
end
