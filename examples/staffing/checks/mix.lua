-- Owners at work: nineteen requests of twenty read, one writes. Owners differ in how busy they are.
-- Arguments: a file with a line for each owner: cookie, owner, object, slot, employee.

local owners, by_slot = {}, {}
local to_end, to_book, to_cancel = {}, {}, {}
local json = { ["Content-Type"] = "application/json" }

function init(arguments)
  math.randomseed(7)
  for line in io.lines(arguments[1]) do
    local cookie, owner, object, slot, employee = line:match("^(%S+) (%d+) (%d+) (%d+) (%d+)$")
    local one = { cookie = cookie, owner = owner, object = object, slot = slot, employee = employee }
    owners[#owners + 1], owners[owner], by_slot[slot], to_book[#to_book + 1] = one, one, one, one
  end
end

local function headers(one, more)
  local all = { Cookie = one.cookie }
  for name, value in pairs(more or {}) do all[name] = value end
  return all
end

local function post(one, path, body) return wrk.format("POST", path, headers(one, body and json), body) end

local function write(one)
  local choice = math.random(4)
  if choice == 1 and #to_end < 8 then
    local body = '{"object_id":%s,"name":"Ada Adler","trade":"cook","starts_on":"2026-11-02","hourly_cents":2000}'
    return post(one, "/api/contracts", body:format(one.object))
  elseif choice == 2 and #to_end > 0 then
    local contract = table.remove(to_end)
    return post(owners[contract.owner], "/api/contracts/" .. contract.id .. "/end")
  elseif choice == 3 and #to_book > 0 then
    local booking = table.remove(to_book, 1)
    return post(booking, "/api/shifts", ('{"slot_id":%s,"employee_id":%s}'):format(booking.slot, booking.employee))
  elseif choice == 4 and #to_cancel > 0 then
    local shift = table.remove(to_cancel)
    return post(shift.by, "/api/shifts/" .. shift.id .. "/cancel")
  end
end

local reads = {
  { 45, function(one) return "/api/owners/" .. one.owner .. "/employees" end },
  { 25, function(one) return "/api/objects/" .. one.object .. "/slots" end },
  { 12, function(one) return "/api/owners/" .. one.owner .. "/objects" end },
  { 10, function(one) return "/api/objects/" .. one.object .. "/shifts" end },
  { 8, function(one) return "/api/owners/" .. one.owner .. "/contracts" end },
}

local function read(one)
  local rest = math.random(100)
  for _, each in ipairs(reads) do
    rest = rest - each[1]
    if rest <= 0 then return wrk.format("GET", each[2](one), headers(one)) end
  end
end

function request()
  local one = owners[1 + math.floor(#owners * math.random() ^ 2)]
  return math.random(20) == 1 and write(one) or read(one)
end

-- What was made is undone by a later request, so that the data stay as large as they were.
function response(status, _, body)
  if status == 201 then
    local owner = body:match('"owner_id":(%d+)')
    local made = { id = body:match('"id":(%d+)'), owner = owner, by = by_slot[body:match('"slot_id":(%d+)')] }
    if owner then to_end[#to_end + 1] = made else to_cancel[#to_cancel + 1] = made end
  elseif status == 200 and body:find('"status":"cancelled"', 1, true) and body:sub(1, 1) == "{" then
    to_book[#to_book + 1] = by_slot[body:match('"slot_id":(%d+)')]
  end
end
