package producer

// WhileListing has f called when a seal begins to list the files and when it is done.
func (w *Writer) WhileListing(f func()) { w.listing = f }
