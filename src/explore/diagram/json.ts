/** The story as JSON: all of it, one object. */
import type { Format } from './format.ts';

export const json: Format = {
  extension: 'json',
  what: 'the whole story as data',
  render: (story) => `${JSON.stringify(story, null, 2)}\n`,
};
