/** Lists of history events as both resources answer them (contracts/modelarts.md §2.9). */
import type { z } from "zod";
import type { eventsQuery } from "../../contract/modelarts/common.ts";
import { instant } from "../../core/ids.ts";
import type { HistoryEvent } from "../../core/model.ts";
import type { EventFilter } from "../../store/store.ts";

export const eventFilter = (query: z.output<typeof eventsQuery>): EventFilter => ({
  order: query.order,
  offset: query.offset,
  limit: query.limit,
  ...(query.event_type === undefined ? {} : { type: query.event_type }),
  ...(query.event_info === undefined ? {} : { info: query.event_info }),
  ...(query.start_time === undefined ? {} : { from: instant(query.start_time) }),
  ...(query.end_time === undefined ? {} : { to: instant(query.end_time) }),
});

export const eventPage = (page: { total: number; rows: readonly HistoryEvent[] }) => ({
  total_count: page.total,
  count: page.rows.length,
  events: page.rows.map((row) => ({
    event_type: row.type,
    event_info: row.info,
    occur_time: row.occurredAt,
  })),
});
