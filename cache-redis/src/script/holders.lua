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
  -- In whole stretches, each up to one that goes: many writers may be here, and Redis does nothing else meanwhile.
  local kept, from, last, own = {}, 2, 0, 0
  local past = #held - (#held - 1) % 46
  for at = 2, past - 45, 46 do
    local ends = tonumber(string.sub(held, at + 32, at + 45)) or 0
    local is_own = string.sub(held, at, at + 31) == holder
    if is_own then own = ends end
    if is_own or ends <= now then
      kept[#kept + 1] = string.sub(held, from, at - 1)
      from = at + 46
    else
      last = math.max(last, ends)
    end
  end
  kept[#kept + 1] = string.sub(held, from, past)
  return table.concat(kept), last, own
end
