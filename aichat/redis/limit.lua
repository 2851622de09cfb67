-- What one worker says of one limit, and what it asks for, in one go.
--
-- Everything that is let through is written into a window of STEPS steps, and stays there for
-- one window and at least one step more: so no more than the limit is ever within any window,
-- even if some requests arrive half a step later than others. Within that a bucket per kind
-- keeps the pace ("tat": when the bucket will be empty). Who has to wait is given a moment in
-- the future, after everybody who came before.
--
-- KEYS: the state, a hash; the workers, a sorted set. Windows of another length have others.
-- ARGV: see _limiter.py, which writes them in this order.

local at = 0
local function word() at = at + 1; return ARGV[at] end
local function number() at = at + 1; return tonumber(ARGV[at]) end

local state, workers = KEYS[1], KEYS[2]

-- -- what is asked --------------------------------------------------------------------

local now = number()
-- When nobody waits for an answer any more, if that is known.
local due = number()
local per, steps = number(), number()
local worker, lease = word(), number()
-- What the worker knows this state as, seconds since it saw it, what a new one is called.
local known, since, fresh = word(), number(), word()
local kinds = {}
for i = 1, number() do
  kinds[i] = { name = word(), limit = number(), burst = number() }
end

if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end
-- Times are kept as text: so that they are the same when they come back.
local function rounded(time) return math.ceil(time * 1e6 - 1e-3) / 1e6 end
local step = per / steps
local lasts = math.ceil(3 * per) + 10
-- Steps up to this one count no more at that time.
local function horizon(time) return math.floor((time - per) / step) - 2 end
for _, kind in ipairs(kinds) do
  -- A little less than the limit says, so that the steps add up to it.
  kind.rate = kind.limit / (per + 2 * step)
end

-- -- what there is --------------------------------------------------------------------

-- What others count, and this worker perhaps not: while a new version is rolled out.
local all = { 'requests', 'tokens', 'input_tokens', 'output_tokens' }
local names = { 'epoch', 'now', 'last', 'paused', 'head', 'filled' }
for _, name in ipairs(all) do
  names[#names + 1] = 'sum:' .. name
  names[#names + 1] = 'tat:' .. name
end
local found = redis.call('HMGET', state, unpack(names))
local epoch = found[1]
local clock = tonumber(found[2])
if epoch and clock and clock > now + per then
  -- Another server's clock: what is known is worth nothing.
  redis.call('DEL', state)
  epoch, clock = false, nil
  found = {}
end
-- Clocks that go back a little stand still.
if clock and clock > now then now = clock end
local last = tonumber(found[3] or 0) or 0
local paused = tonumber(found[4] or 0) or 0
local head = tonumber(found[5] or '') or (horizon(now) + 1)
local filled = found[6] == '1'
local sums, tats = {}, {}
for i, name in ipairs(all) do
  sums[name] = tonumber(found[5 + 2 * i] or 0) or 0
  tats[name] = tonumber(found[6 + 2 * i] or 0) or 0
end
local function whole(number) return string.format('%.0f', number) end
local function cells(s)
  local fields = {}
  for i, name in ipairs(all) do fields[i] = whole(s) .. ':' .. name end
  return fields
end

-- Let go of what the window has left behind: up to the last step that has anything.
local free = horizon(now)
local filled_to = math.floor(math.max(last, clock or 0) / step)
for s = head, math.min(free, filled_to) do
  local fields = cells(s)
  local amounts = redis.call('HMGET', state, unpack(fields))
  for i, name in ipairs(all) do
    if amounts[i] then
      sums[name] = sums[name] - tonumber(amounts[i])
      redis.call('HDEL', state, fields[i])
    end
  end
end
for _, name in ipairs(all) do
  -- Sums of fractions do not come back to where they began.
  if filled_to <= free then sums[name] = 0 end
end
head = math.max(head, free + 1)

for _, kind in ipairs(kinds) do kind.sum, kind.tat = sums[kind.name], tats[kind.name] end
local function cell(s, kind) return whole(s) .. ':' .. kind.name end
local function add(s, kind, amount)
  redis.call('HINCRBYFLOAT', state, cell(s, kind), string.format('%.6f', amount))
  kind.sum = kind.sum + amount
end

-- The worker has seen another state than this one, and it cannot have run out since: Redis has
-- lost it. Then all is taken to have been used, evenly, and comes free in the same way.
local lost = known ~= '' and since < lasts and known ~= (epoch or '')
if not epoch then
  epoch = fresh
  filled = false
end
if lost and not filled then
  filled = true
  local today = math.floor(now / step)
  for _, kind in ipairs(kinds) do
    local each = kind.limit / (today - head + 1)
    for s = head, today do add(s, kind, each) end
    kind.tat = math.max(kind.tat, now + kind.burst / kind.rate)
  end
end
local same = not lost

-- -- what has become of earlier ones --------------------------------------------------

local today = math.floor(now / step)
-- Mail that was sent before has been read already, if the answer got lost.
local letter = number()
local letters = 'letter:' .. worker
if letter and same then
  if tonumber(redis.call('HGET', state, letters) or 0) >= letter then
    same = false
  else
    redis.call('HSET', state, letters, letter)
  end
end
for _ = 1, number() do
  -- When it was let through, or nothing if nobody knows; whether it is given back whole.
  local time, whole = tonumber(word()), word() == '1'
  local s = time and math.floor(time / step) or today
  -- What is over counts from now on, if it is more than was thought.
  if s < head then time, s = nil, nil end
  for _, kind in ipairs(kinds) do
    local amount = number()
    if same and amount > 0 then
      add(math.min(s or today, math.floor(math.max(last, now) / step)), kind, amount)
      kind.tat = math.max(kind.tat, time or now) + amount / kind.rate
    elseif same and amount < 0 and s then
      local kept = tonumber(redis.call('HGET', state, cell(s, kind)) or 0)
      local back = math.min(-amount, kept)
      if back > 0 then
        add(s, kind, -back)
        kind.tat = math.max(now, kind.tat - back / kind.rate)
      end
    end
  end
  if same and whole and time and time >= last and last > now then
    -- The last in the queue has left: whoever is before it is the last now.
    local behind = now
    for t = math.floor(last / step), today + 1, -1 do
      local taken = false
      for _, amount in ipairs(redis.call('HMGET', state, unpack(cells(t)))) do
        taken = taken or tonumber(amount or 0) > 1e-6
      end
      if taken then
        behind = math.min(last, (t + 1) * step)
        break
      end
    end
    last = behind
  end
end

-- -- what the provider says -----------------------------------------------------------

for _, kind in ipairs(kinds) do
  local room = number()
  if room and room < kind.burst then
    kind.tat = math.max(kind.tat, now + (kind.burst - room) / kind.rate)
  end
end
local pause = number()
if pause then paused = math.max(paused, now + pause) end

-- -- what is asked for ----------------------------------------------------------------

-- When there will be room for these amounts, and whether the window is what it waits for.
local function moment(amounts)
  local time = math.max(now, last, paused)
  for i, kind in ipairs(kinds) do
    local amount = amounts[i]
    if amount > 0 then
      local most = math.max(kind.burst, amount)
      time = math.max(time, kind.tat - (most - amount) / kind.rate)
    end
  end
  local windowed = false
  for i, kind in ipairs(kinds) do
    local over = kind.sum + amounts[i] - kind.limit
    -- What is lost in the last digits is not worth a wait.
    if amounts[i] > 0 and over > 1e-6 * kind.limit then
      local s = head
      local ends = math.floor(math.max(last, now) / step)
      while s <= ends do
        over = over - tonumber(redis.call('HGET', state, cell(s, kind)) or 0)
        if over <= 1e-6 * kind.limit then break end
        s = s + 1
      end
      local freed = (s + 2) * step + per
      if freed > time then
        time = freed
        windowed = true
      end
    end
  end
  return rounded(time), windowed
end

local function take(amounts, time, windowed)
  local s = math.floor(time / step)
  for i, kind in ipairs(kinds) do
    local amount = amounts[i]
    if amount > 0 then
      add(s, kind, amount)
      kind.tat = math.max(kind.tat, time) + amount / kind.rate
      if windowed then
        -- Who had to wait for the window has no burst left for when it opens.
        kind.tat = math.max(kind.tat, time + kind.burst / kind.rate)
      end
    end
  end
  last = time
end

local answer, rooms = {}, {}
local wait, taken = '', ''
for _ = 1, number() do
  local within = word()
  local amounts = {}
  for i, kind in ipairs(kinds) do amounts[i] = math.min(number(), kind.limit) end
  -- A Redis that has slept hears of wishes that nobody has any more.
  if wait == '' and not (due and now > due) then
    local time, windowed = moment(amounts)
    local seconds = time - now
    if seconds <= 1e-6 then
      take(amounts, now, windowed)
      answer[#answer + 1] = string.format('%.6f', now)
    else
      wait = string.format('%.6f', seconds)
      if within == 'inf' or seconds <= tonumber(within) then
        take(amounts, time, windowed)
        taken = string.format('%.6f', time)
        -- What may go together with it.
        for i, kind in ipairs(kinds) do
          local room = kind.burst - math.max(0, kind.tat - time) * kind.rate
          rooms[i] = string.format('%.6f', math.max(0, room))
        end
      end
    end
  end
end

-- -- what is kept ---------------------------------------------------------------------

local keep = {
  'epoch', epoch, 'now', string.format('%.6f', now), 'last', string.format('%.6f', last),
  'paused', string.format('%.6f', paused), 'head', whole(head),
  'filled', filled and '1' or '0',
}
for _, kind in ipairs(kinds) do sums[kind.name], tats[kind.name] = kind.sum, kind.tat end
for _, name in ipairs(all) do
  -- Of what nobody counts there is nothing to be kept.
  if tats[name] ~= 0 then
    keep[#keep + 1] = 'sum:' .. name
    keep[#keep + 1] = string.format('%.6f', math.max(sums[name], 0))
    keep[#keep + 1] = 'tat:' .. name
    keep[#keep + 1] = string.format('%.6f', tats[name])
  end
end
redis.call('HSET', state, unpack(keep))
-- Whoever waits for its time does not ask meanwhile.
redis.call('EXPIRE', state, lasts + math.ceil(math.max(last, paused, now) - now))

redis.call('ZADD', workers, now, worker)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', workers, '-inf', now - lease)) do
  redis.call('ZREM', workers, gone)
  redis.call('HDEL', state, 'letter:' .. gone)
end
redis.call('EXPIRE', workers, math.ceil(lease) + 10)

-- The seconds that the next one has to wait, if there is one, and the time it is given; the
-- times of those who need not wait; what there will be left of each burst at that time.
return {
  epoch, string.format('%.6f', now), redis.call('ZCARD', workers), wait, taken, answer,
  rooms,
}
