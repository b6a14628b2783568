/**
 * The database behind `pxd sql`: DuckDB, loaded when it is asked for and only then.
 *
 * Invariants: rows go in through data chunks, never through text; DuckDB may not load extensions from the network on its own.
 */
import { existsSync } from 'node:fs';
import { FINAL_TABLES, type Push, type Sink, STAGING, type StagedValue, type Staging } from '../inspect/sql-tables.ts';
import { PxdError } from '../pagetable/error.ts';

/** The part of @duckdb/node-api that is used here; its own types would make an optional package necessary for compiling. */
interface DuckDb {
  readonly DuckDBInstance: { create(path: string, options: Record<string, string>): Promise<{ connect(): Promise<Connection> }> };
  readonly DuckDBDataChunk: { create(types: readonly unknown[], rows: number): { setColumnValues(column: number, values: readonly StagedValue[]): void } };
  readonly DOUBLE: unknown;
  readonly VARCHAR: unknown;
  readonly BOOLEAN: unknown;
}
interface Reader {
  deduplicatedColumnNames(): string[];
  columnTypes(): unknown[];
  getRows(): unknown[][];
}

interface Connection {
  run(sql: string): Promise<unknown>;
  runAndReadAll(sql: string): Promise<Reader>;
  extractStatements(sql: string): Promise<{ readonly count: number; prepare(index: number): Promise<{ runAndReadAll(): Promise<Reader> }> }>;
  createAppender(table: string, schema: string, catalog: string): Promise<Appender>;
  closeSync(): void;
}
interface Appender {
  appendDataChunk(chunk: unknown): void;
  closeSync(): void;
}

/** A name that only exists at run time. */
const PACKAGE: string = '@duckdb/node-api';

export interface Answer {
  readonly names: readonly string[];
  readonly types: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
}

/** Rows that DuckDB takes at once. */
const CHUNK = 2048;

async function load(): Promise<DuckDb> {
  try {
    return (await import(PACKAGE)) as DuckDb;
  } catch (e) {
    const { code, message } = e as NodeJS.ErrnoException;
    const missing = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND';
    throw new PxdError(
      'unavailable',
      missing
        ? 'pxd sql needs DuckDB, an optional package that is not installed: npm install @duckdb/node-api (everything else works without it)'
        : `pxd sql cannot load DuckDB (@duckdb/node-api): ${message.split('\n')[0]}`,
    );
  }
}

export class Database {
  readonly #duckdb: DuckDb;
  readonly #connection: Connection;
  readonly #loaders = new Map<string, Loader>();

  private constructor(duckdb: DuckDb, connection: Connection) {
    this.#duckdb = duckdb;
    this.#connection = connection;
  }

  /** Opens a database in memory, or a new file. */
  static async open(file?: string): Promise<Database> {
    const duckdb = await load();
    const instance = await duckdb.DuckDBInstance.create(file ?? ':memory:', {
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
    }).catch((e: Error) => {
      throw new PxdError('unavailable', `cannot open the database${file === undefined ? '' : ` ${file}`}: ${firstLine(e)}`);
    });
    const database = new Database(duckdb, await instance.connect());
    for (const staging of Object.values(STAGING)) await database.#stage(staging);
    return database;
  }

  async #stage(staging: Staging): Promise<void> {
    await this.#connection.run(`CREATE TEMP TABLE ${staging.name} (${staging.columns.map(([n, t]) => `${n} ${t}`).join(', ')})`);
    this.#loaders.set(staging.name, new Loader(this.#duckdb, await this.#connection.createAppender(staging.name, 'main', 'temp'), staging));
  }

  /** Takes rows of the staging tables. */
  readonly sink: Sink = (staging) => (this.#loaders.get(staging.name) as Loader).push;

  /** Makes the tables to query, once all rows are in. */
  async finish(): Promise<void> {
    for (const loader of this.#loaders.values()) loader.close();
    for (const [name, query] of Object.entries(FINAL_TABLES)) await this.#connection.run(`CREATE OR REPLACE TABLE "${name}" AS ${query}`);
    for (const staging of Object.values(STAGING)) await this.#connection.run(`DROP TABLE ${staging.name}`);
    // Addresses in hexadecimal.
    await this.#connection.run("CREATE OR REPLACE MACRO addr(x) AS printf('0x%x', x)");
  }

  /** The answer of each statement, in order. @throws {PxdError} with DuckDB's own words. */
  async query(sql: string): Promise<Answer[]> {
    try {
      const statements = await this.#connection.extractStatements(sql);
      const answers: Answer[] = [];
      for (let i = 0; i < statements.count; i++) {
        const reader = await (await statements.prepare(i)).runAndReadAll();
        answers.push({ names: reader.deduplicatedColumnNames(), types: reader.columnTypes().map(String), rows: reader.getRows() });
      }
      return answers;
    } catch (e) {
      throw new PxdError('usage', firstLine(e as Error));
    }
  }

  /** Writes every table to `<folder>/<name>.<format>`. @throws {PxdError} before anything is written when one of the files is there and `force` is not given. */
  async export(folder: string, format: 'parquet' | 'csv', force: boolean): Promise<string[]> {
    const files: string[] = [];
    const fileOf = (name: string): string => `${folder}/${name}.${format}`;
    const there = Object.keys(FINAL_TABLES)
      .map(fileOf)
      .find((file) => existsSync(file));
    if (there !== undefined && !force) throw new PxdError('usage', `${there} exists; --force overwrites it`);
    for (const name of Object.keys(FINAL_TABLES)) {
      const file = fileOf(name);
      await this.query(`COPY "${name}" TO '${file.replaceAll("'", "''")}' (FORMAT ${format}${format === 'csv' ? ', HEADER' : ''})`);
      files.push(file);
    }
    return files;
  }

  close(): void {
    this.#connection.closeSync();
  }
}

const firstLine = (e: Error): string =>
  e.message
    .replace(/^Failed to extract statements: /, '')
    .split('\n')
    .map((l) => l.trim())
    .filter((l) => l !== '')
    .join(' ');

/** Collects rows by column and hands on full chunks. */
class Loader {
  readonly #duckdb: DuckDb;
  readonly #appender: Appender;
  readonly #types: readonly unknown[];
  #columns: StagedValue[][];
  #rows = 0;

  constructor(duckdb: DuckDb, appender: Appender, staging: Staging) {
    this.#duckdb = duckdb;
    this.#appender = appender;
    const { DOUBLE, VARCHAR, BOOLEAN } = duckdb;
    this.#types = staging.columns.map(([, type]) => ({ DOUBLE, VARCHAR, BOOLEAN })[type]);
    this.#columns = staging.columns.map(() => []);
  }

  readonly push: Push = (row) => {
    for (let c = 0; c < row.length; c++) this.#columns[c].push(row[c]);
    if (++this.#rows === CHUNK) this.#flush();
  };

  #flush(): void {
    if (this.#rows === 0) return;
    const chunk = this.#duckdb.DuckDBDataChunk.create(this.#types, this.#rows);
    this.#columns.forEach((values, c) => chunk.setColumnValues(c, values));
    this.#appender.appendDataChunk(chunk);
    this.#columns = this.#columns.map(() => []);
    this.#rows = 0;
  }

  close(): void {
    this.#flush();
    this.#appender.closeSync();
  }
}
