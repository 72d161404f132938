pub fn check_reader() {}
