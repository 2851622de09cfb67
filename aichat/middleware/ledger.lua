-- The books of one account: what has been spent, and what is put aside for calls under way.
--
-- Money is whole nano-dollars, as Lua's numbers are exact up to 2^53.
-- KEYS: the account, a hash; holds by when they run out; holds that have run out, by when; the
-- workers that have asked, by when; what has been posted late, by when.
-- Fields of the account: "born", its name; "spent"; "held"; and for a window how much was
-- spent in each of its steps, by the number of the step.
-- A hold is called "id/amount". ARGV: see _redis_ledger.py, which writes them in this order.

local account, holds, lapsed, workers, posted = unpack(KEYS)
local at = 0
local function word() at = at + 1; return ARGV[at] end
local function number() at = at + 1; return tonumber(ARGV[at]) end
local function whole(value) return string.format('%.0f', value) end

local now, fresh = number(), word()
-- Seconds: the window, or nothing, and its step; until a hold runs out; until a worker is
-- forgotten; until what is only kept to know it again is.
local per, step, lease, seen, keep = number(), number(), number(), number(), number()
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end

-- -- reading the books ------------------------------------------------------------------

local born, spent, held = fresh, 0, 0
local steps, order = {}, {}
local entries = redis.call('HGETALL', account)
for i = 1, #entries, 2 do
  local name, value = entries[i], entries[i + 1]
  if name == 'born' then born = value
  elseif name == 'spent' then spent = tonumber(value)
  elseif name == 'held' then held = tonumber(value)
  else
    steps[tonumber(name)] = tonumber(value)
    order[#order + 1] = tonumber(name)
  end
end
if #entries == 0 then redis.call('HSET', account, 'born', born) end
-- Holds that Redis has put out for want of room cannot end any more.
if held > 0 and redis.call('EXISTS', holds) == 0 then held = 0 end
table.sort(order)

local function number_of(time) return math.floor(time / step) end
local function free_at(n) return (n + 1) * step + per end

local function book(amount, time)
  if amount == 0 then return end
  if per then
    local n = number_of(time)
    if free_at(n) <= now then return end
    if not steps[n] then
      order[#order + 1] = n
      table.sort(order)
    end
    steps[n] = (steps[n] or 0) + amount
    redis.call('HSET', account, whole(n), whole(steps[n]))
  end
  spent = spent + amount
end

local kept = {}
for _, n in ipairs(order) do
  if free_at(n) <= now then
    spent = spent - steps[n]
    steps[n] = nil
    redis.call('HDEL', account, whole(n))
  else
    kept[#kept + 1] = n
  end
end
order = kept

-- Whoever held these has died, or takes very long. The money may have been spent.
for _, hold in ipairs(redis.call('ZRANGEBYSCORE', holds, '-inf', now, 'LIMIT', 0, 500)) do
  local amount = tonumber(string.match(hold, '/(%d+)$'))
  local ended = tonumber(redis.call('ZSCORE', holds, hold))
  redis.call('ZREM', holds, hold)
  redis.call('ZADD', lapsed, string.format('%.6f', ended), hold)
  held = held - amount
  book(amount, ended)
end

-- -- what is asked ----------------------------------------------------------------------

local answer
local asked = word()
if asked == 'hold' then
  local id, worker = word(), word()
  local limit, least, amount = number(), number(), number()
  redis.call('ZADD', workers, string.format('%.6f', now), worker)
  redis.call('ZREMRANGEBYSCORE', workers, '-inf', string.format('%.6f', now - seen))
  local granted, wait = 1, ''
  if redis.call('ZSCORE', posted, id) then
    -- Redis has slept, and heard first that nobody waits for it any more.
    granted = 0
    answer = { granted, whole(spent), whole(held), wait, born, 0 }
  elseif spent + held + least > limit then
    granted = 0
    local over = spent + held + least - limit
    for _, n in ipairs(order) do
      over = over - steps[n]
      if over <= 0 then
        wait = string.format('%.6f', free_at(n) - now)
        break
      end
    end
    answer = { granted, whole(spent), whole(held), wait, born, 0 }
  else
    answer = { granted, whole(spent), whole(held), wait, born, 0 }
    redis.call('ZADD', holds, string.format('%.6f', now + lease), id .. '/' .. whole(amount))
    held = held + amount
  end
  answer[6] = redis.call('ZCARD', workers)
else
  for _ = 1, number() do
    local id, known, reserved, amount = word(), word(), number(), number()
    local hold = id .. '/' .. whole(reserved)
    if redis.call('ZREM', holds, hold) == 1 then
      held = held - reserved
      book(amount, now)
    else
      local ended = redis.call('ZSCORE', lapsed, hold)
      if ended then
        -- It has been taken for spent, and is known now.
        redis.call('ZREM', lapsed, hold)
        book(-reserved, tonumber(ended))
        book(amount, now)
      elseif known ~= born then
        -- Of books that are lost, or of none, or not asked for yet: these have to know it,
        -- once.
        if redis.call('ZADD', posted, 'NX', string.format('%.6f', now), id) == 1 then
          book(amount, now)
        end
      end
    end
  end
  answer = { whole(spent), whole(held), born }
end

-- -- closing the books ------------------------------------------------------------------

-- Not more than there is time for: forgotten is only what nobody comes back to.
local old = string.format('%.6f', now - keep)
redis.call('ZREMRANGEBYSCORE', lapsed, '-inf', old)
redis.call('ZREMRANGEBYSCORE', posted, '-inf', old)
redis.call('HSET', account, 'spent', whole(spent), 'held', whole(held))

local lasts = math.ceil((keep + lease + (per or 0)) * 1000)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, lasts) end
-- What may be spent once is spent for good.
if not per and spent + held > 0 then
  redis.call('PERSIST', account)
  -- And what is put aside until it is known, or has run out.
  if held > 0 then redis.call('PERSIST', holds) end
end
return answer
