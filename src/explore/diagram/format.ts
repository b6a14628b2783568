/** What a format of diagrams is: a pure function from a story to text. */
import type { Story } from '../story.ts';

export interface RenderOptions {
  /** Columns of text, for formats that have such. Default 100. */
  readonly width?: number;
}

export interface Format {
  /** Of files, without a dot. */
  readonly extension: string;
  /** What it is for, for lists of formats. */
  readonly what: string;
  render(story: Story, options?: RenderOptions): string;
}
