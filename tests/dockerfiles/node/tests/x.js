never copied
