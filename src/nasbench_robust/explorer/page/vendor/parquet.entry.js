import { parquetMetadata, parquetReadObjects } from 'hyparquet'
import { decompress } from 'fzstd'
const compressors = { ZSTD: (input, length) => decompress(input, new Uint8Array(length)) }
export function parquet(buffer) {
  const metadata = parquetMetadata(buffer)
  return parquetReadObjects({ file: buffer, metadata, compressors }).then(rows => ({ rows, metadata }))
}
